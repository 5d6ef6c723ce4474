(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 (or false false))
(assert
 (let ((?x106 (+ m (- 2.0))))
(<= 0.0 ?x106)))
(check-sat)
