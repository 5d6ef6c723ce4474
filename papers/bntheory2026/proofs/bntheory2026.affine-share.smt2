(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (+ (* g_1 g_1) (* g_2 g_2) (* g_3 g_3)))))
(assert
 (let ((?x329 (* g_3 g_3)))
 (let ((?x72 (* g_2 g_2)))
 (let ((?x19 (* g_1 g_1)))
 (let ((?x91 (+ ?x19 ?x72 ?x329)))
 (and (distinct 0.0 ?x91) true))))))
(assert
 (or false false))
(assert
 (<= 0.0 g_3))
(assert
 (let ((?x130 (+ m (- 2.0))))
(<= 0.0 ?x130)))
(check-sat)
