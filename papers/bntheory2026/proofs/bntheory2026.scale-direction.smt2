(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x505 (+ m (- 2.0))))
(<= 0.0 ?x505)))
(check-sat)
