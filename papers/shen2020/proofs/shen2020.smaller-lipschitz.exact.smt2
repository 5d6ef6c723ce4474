(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun mu () Real)
(declare-fun gamma () Real)
(declare-fun sigma () Real)
(declare-fun m () Real)
(assert
 (let ((?x11 (* g_3 g_3)))
 (let ((?x9 (* g_2 g_2)))
 (let ((?x7 (* g_1 g_1)))
 (let ((?x12 (+ ?x7 ?x9 ?x11)))
 (< 0.0 ?x12))))))
(assert
 (let ((?x52 (+ (* gamma gamma sigma sigma g_1 g_1) (* gamma gamma sigma sigma g_2 g_2) (* (- 1.0) gamma gamma mu mu g_3 g_3))))
 (let ((?x46 (+ (* (- 1.0) sigma sigma g_1 g_1 g_1 g_1) (* (- 2.0) sigma sigma g_1 g_1 g_2 g_2) (* (- 1.0) sigma sigma g_2 g_2 g_2 g_2) (* mu mu g_1 g_1 g_3 g_3) (* (- 1.0) sigma sigma g_1 g_1 g_3 g_3) (* mu mu g_2 g_2 g_3 g_3) (* (- 1.0) sigma sigma g_2 g_2 g_3 g_3) (* mu mu g_3 g_3 g_3 g_3))))
 (let ((?x11 (* g_3 g_3)))
 (let ((?x9 (* g_2 g_2)))
 (let ((?x7 (* g_1 g_1)))
 (let ((?x12 (+ ?x7 ?x9 ?x11)))
 (let (($x23 (and (distinct 0.0 ?x12) true)))
 (let ((?x33 (+ (* sigma sigma g_1 g_1 g_1 g_1) (* 2.0 sigma sigma g_1 g_1 g_2 g_2) (* sigma sigma g_2 g_2 g_2 g_2) (* (- 1.0) mu mu g_1 g_1 g_3 g_3) (* sigma sigma g_1 g_1 g_3 g_3) (* (- 1.0) mu mu g_2 g_2 g_3 g_3) (* sigma sigma g_2 g_2 g_3 g_3) (* (- 1.0) mu mu g_3 g_3 g_3 g_3))))
 (let ((?x21 (+ (* (- 1.0) gamma gamma sigma sigma g_1 g_1) (* (- 1.0) gamma gamma sigma sigma g_2 g_2) (* gamma gamma mu mu g_3 g_3))))
 (or (and (<= 0.0 ?x21) (and $x23 (< 0.0 ?x33))) (and (and $x23 (<= 0.0 ?x46)) (< 0.0 ?x52)))))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (< 0.0 sigma))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
