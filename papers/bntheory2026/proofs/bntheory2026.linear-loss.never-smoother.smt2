(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun gamma () Real)
(declare-fun g_2 () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (let ((?x8 (* gamma gamma g_3 g_3)))
 (< 0.0 ?x8)))
(assert
 (let ((?x18 (+ (* (- 2.0) gamma gamma sigma sigma sigma sigma g_3 g_3) (* gamma gamma gamma sigma sigma g_2 g_3 g_3) (* (- 2.0) gamma gamma gamma gamma g_2 g_2 g_3 g_3))))
 (and (and (distinct 0.0 g_3) true) (and (distinct 0.0 gamma) true) (<= 0.0 ?x18))))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
