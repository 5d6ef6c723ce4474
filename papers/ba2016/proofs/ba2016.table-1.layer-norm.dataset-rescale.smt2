(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x196 (+ m (- 2.0))))
(<= 0.0 ?x196)))
(check-sat)
