(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 (or false false))
(assert
 (let ((?x8 (+ m (- 2.0))))
(<= 0.0 ?x8)))
(check-sat)
