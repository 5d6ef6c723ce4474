(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x7 (+ m (- 2.0))))
(<= 0.0 ?x7)))
(check-sat)
