(set-logic QF_NRA)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun g_3 () Real)
(declare-fun mu () Real)
(declare-fun gamma () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (and (= 0.0 (* (- 1.0) g_1)) (= 0.0 (* (- 1.0) g_2))))
(assert
 (let ((?x21 (+ (* gamma gamma sigma sigma g_1 g_1) (* gamma gamma sigma sigma g_2 g_2) (* (- 1.0) gamma gamma mu mu g_3 g_3))))
 (< 0.0 ?x21)))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
