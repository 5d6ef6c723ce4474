(set-logic QF_NRA)
(declare-fun n () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (= 0.0 (+ (* (- 1.0) sigma) n)))
(assert
 (let ((?x13 (+ sigma (* (- 1.0) n))))
 (and (distinct 0.0 ?x13) true)))
(assert
 (< 0.0 sigma))
(assert
 (< 0.0 n))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
