(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 (let (($x5 (or false false)))
 (or $x5 $x5)))
(assert
 (let ((?x46 (+ m (- 2.0))))
(<= 0.0 ?x46)))
(check-sat)
