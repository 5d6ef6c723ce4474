(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 (or false false))
(assert
 (let ((?x80 (+ m (- 2.0))))
(<= 0.0 ?x80)))
(check-sat)
