(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x21 (+ m (- 2.0))))
(<= 0.0 ?x21)))
(check-sat)
