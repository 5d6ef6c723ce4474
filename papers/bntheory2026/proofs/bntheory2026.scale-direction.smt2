(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 false)
(assert
 (let ((?x430 (+ m (- 2.0))))
(<= 0.0 ?x430)))
(check-sat)
