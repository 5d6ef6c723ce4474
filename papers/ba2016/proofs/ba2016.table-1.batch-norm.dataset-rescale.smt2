(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x115 (+ m (- 2.0))))
(<= 0.0 ?x115)))
(check-sat)
