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
 (let ((?x80 (+ (* k1 k1 c1 c1) (* (- 1.0) largest largest c1 c1) (* k2 k2 c2 c2) (* (- 1.0) largest largest c2 c2))))
 (< 0.0 ?x80)))
(assert
 (<= 0.0 k1))
(assert
 (<= 0.0 k2))
(assert
 (<= 0.0 largest))
(assert
 (let ((?x284 (+ m (- 2.0))))
(<= 0.0 ?x284)))
(check-sat)
