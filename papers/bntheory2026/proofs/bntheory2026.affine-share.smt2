(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(assert
 (let ((?x11 (* g_3 g_3)))
 (let ((?x9 (* g_2 g_2)))
 (let ((?x7 (* g_1 g_1)))
 (let ((?x12 (+ ?x7 ?x9 ?x11)))
 (< 0.0 ?x12))))))
(assert
 (let ((?x11 (* g_3 g_3)))
 (let ((?x9 (* g_2 g_2)))
 (let ((?x7 (* g_1 g_1)))
 (let ((?x12 (+ ?x7 ?x9 ?x11)))
 (and (and (distinct 0.0 ?x12) true) false))))))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
