(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x918 (+ m (- 2.0))))
(<= 0.0 ?x918)))
(check-sat)
