(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x53 (+ m (- 2.0))))
(<= 0.0 ?x53)))
(check-sat)
