(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x78 (+ m (- 2.0))))
(<= 0.0 ?x78)))
(check-sat)
