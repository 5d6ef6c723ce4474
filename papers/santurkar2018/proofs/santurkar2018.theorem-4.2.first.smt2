(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x19 (+ m (- 2.0))))
(<= 0.0 ?x19)))
(check-sat)
