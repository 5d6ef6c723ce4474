(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x72 (+ m (- 2.0))))
(<= 0.0 ?x72)))
(check-sat)
