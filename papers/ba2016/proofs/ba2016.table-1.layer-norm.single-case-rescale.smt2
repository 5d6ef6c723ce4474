(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
