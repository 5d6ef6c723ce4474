(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x306 (+ m (- 2.0))))
(<= 0.0 ?x306)))
(check-sat)
