(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (+ (* g_1 g_1) (* g_2 g_2) (* g_3 g_3)))))
(assert
 (let ((?x121 (* g_3 g_3)))
 (let ((?x225 (* g_2 g_2)))
 (let ((?x9 (* g_1 g_1)))
 (let ((?x122 (+ ?x9 ?x225 ?x121)))
 (and (distinct 0.0 ?x122) true))))))
(assert
 (or false false))
(assert
 (<= 0.0 g_3))
(assert
 (let ((?x74 (+ m (- 2.0))))
(<= 0.0 ?x74)))
(check-sat)
