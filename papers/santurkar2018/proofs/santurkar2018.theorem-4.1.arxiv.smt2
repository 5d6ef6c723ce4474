(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x897 (+ m (- 2.0))))
(<= 0.0 ?x897)))
(check-sat)
