(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun gamma () Real)
(declare-fun g_2 () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (* gamma gamma g_3 g_3))))
(assert
 (and (distinct 0.0 g_3) true))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (let ((?x160 (+ (* (- 2.0) gamma gamma sigma sigma sigma sigma g_3 g_3) (* gamma gamma gamma sigma sigma g_2 g_3 g_3) (* (- 2.0) gamma gamma gamma gamma g_2 g_2 g_3 g_3))))
 (<= 0.0 ?x160)))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (let ((?x37 (+ m (- 2.0))))
(<= 0.0 ?x37)))
(check-sat)
