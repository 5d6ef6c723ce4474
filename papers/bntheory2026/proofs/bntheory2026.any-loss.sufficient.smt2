(set-logic QF_NRA)
(declare-fun H_33 () Real)
(declare-fun d_3 () Real)
(declare-fun h () Real)
(declare-fun g_3 () Real)
(declare-fun d_2 () Real)
(declare-fun gamma () Real)
(declare-fun g_2 () Real)
(declare-fun d_1 () Real)
(declare-fun g_4 () Real)
(declare-fun m () Real)
(assert
 (<= 0.0 (+ (* d_3 d_3 h) (* (- 1.0) d_3 d_3 H_33))))
(assert
 (let ((?x32 (+ (* (- 1.0) gamma gamma d_1 d_1 h) (* (- 1.0) gamma gamma d_2 d_2 h) (* (- 1.0) gamma gamma d_3 d_3 h) (* gamma gamma d_3 d_3 H_33) (* (- 1.0) gamma d_3 d_3 g_2) (* (- 2.0) gamma d_2 d_3 g_3))))
 (let ((?x21 (+ (* gamma g_2 h) (* (- 1.0) g_3 g_3) (* (- 1.0) g_4 g_4))))
 (and (<= 0.0 ?x21) (< 0.0 ?x32)))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 d_3))
(assert
 (<= 0.0 g_4))
(assert
 (< 0.0 h))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
