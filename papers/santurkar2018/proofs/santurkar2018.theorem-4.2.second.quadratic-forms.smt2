(set-logic QF_NRA)
(declare-fun H_33 () Real)
(declare-fun g_3 () Real)
(declare-fun sigma () Real)
(declare-fun gamma () Real)
(declare-fun H_23 () Real)
(declare-fun g_2 () Real)
(declare-fun H_22 () Real)
(declare-fun H_13 () Real)
(declare-fun g_1 () Real)
(declare-fun H_12 () Real)
(declare-fun H_11 () Real)
(declare-fun m () Real)
(assert
 (let ((?x25 (* sigma sigma g_3 g_3 H_33)))
 (let ((?x18 (* sigma sigma g_2 g_2 H_22)))
 (let ((?x9 (* sigma sigma g_1 g_1 H_11)))
 (let ((?x26 (+ ?x9 (* 2.0 sigma sigma g_1 g_2 H_12) (* 2.0 sigma sigma g_1 g_3 H_13) ?x18 (* 2.0 sigma sigma g_2 g_3 H_23) (* (- 1.0) gamma gamma g_3 g_3 H_33) ?x25)))
 (<= 0.0 ?x26))))))
(assert
 (let ((?x36 (+ (* (- 1.0) sigma sigma g_1 g_1 H_11) (* (- 2.0) sigma sigma g_1 g_2 H_12) (* (- 2.0) sigma sigma g_1 g_3 H_13) (* (- 1.0) sigma sigma g_2 g_2 H_22) (* (- 2.0) sigma sigma g_2 g_3 H_23) (* gamma gamma g_3 g_3 H_33) (* (- 1.0) sigma sigma g_3 g_3 H_33))))
 (< 0.0 ?x36)))
(assert
 (< 0.0 gamma))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
