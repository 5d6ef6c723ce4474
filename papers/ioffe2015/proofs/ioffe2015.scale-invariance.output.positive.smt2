(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x903 (+ m (- 2.0))))
(<= 0.0 ?x903)))
(check-sat)
