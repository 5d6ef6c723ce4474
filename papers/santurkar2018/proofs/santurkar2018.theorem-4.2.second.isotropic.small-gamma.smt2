(set-logic QF_NRA)
(declare-fun sigma () Real)
(declare-fun gamma () Real)
(declare-fun H () Real)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(assert
 (let (($x14 (<= 0.0 (+ (* g_1 g_1 H) (* g_2 g_2 H) (* g_3 g_3 H)))))
 (and $x14 (<= 0.0 (+ (* (- 1.0) gamma gamma) (* sigma sigma))))))
(assert
 (let ((?x27 (+ (* (- 1.0) gamma gamma sigma sigma g_1 g_1 H) (* (- 1.0) gamma gamma sigma sigma g_2 g_2 H) (* gamma gamma gamma gamma g_3 g_3 H) (* (- 1.0) gamma gamma sigma sigma g_3 g_3 H))))
 (< 0.0 ?x27)))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
