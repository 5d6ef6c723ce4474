(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x193 (+ m (- 2.0))))
(<= 0.0 ?x193)))
(check-sat)
