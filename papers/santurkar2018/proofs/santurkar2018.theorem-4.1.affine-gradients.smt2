(set-logic QF_NRA)
(declare-fun m () Real)
(assert
 true)
(assert
 (let (($x476 (or false false)))
 (or $x476 $x476)))
(assert
 (let ((?x312 (+ m (- 2.0))))
(<= 0.0 ?x312)))
(check-sat)
