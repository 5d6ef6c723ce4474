(set-logic QF_NRA)
(declare-fun largest () Real)
(declare-fun k2 () Real)
(declare-fun k1 () Real)
(declare-fun c2 () Real)
(declare-fun c1 () Real)
(declare-fun m () Real)
(assert
 (and (<= 0.0 (+ (* (- 1.0) k1) largest)) (<= 0.0 (+ (* (- 1.0) k2) largest))))
(assert
 (let ((?x21 (* k2 k2 c2 c2)))
 (let ((?x18 (* k1 k1 c1 c1)))
 (let ((?x23 (+ ?x18 (* (- 1.0) largest largest c1 c1) ?x21 (* (- 1.0) largest largest c2 c2))))
 (< 0.0 ?x23)))))
(assert
 (<= 0.0 k1))
(assert
 (<= 0.0 k2))
(assert
 (<= 0.0 largest))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
