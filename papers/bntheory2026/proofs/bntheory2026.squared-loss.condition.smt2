(set-logic QF_NRA)
(declare-fun g_4 () Real)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun d_3 () Real)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (+ (* g_3 g_3) (* g_4 g_4)))))
(assert
 (let (($x332 (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3) (* g_4 g_4)))))
 (let ((?x12 (+ (* gamma g_2 g_3 g_3) (* (- 1.0) g_3 g_3 g_3 g_3) (* gamma g_2 g_4 g_4) (* (- 2.0) g_3 g_3 g_4 g_4) (* (- 1.0) g_4 g_4 g_4 g_4))))
 (let ((?x58 (* g_4 g_4 g_4 g_4)))
 (let ((?x369 (* g_3 g_3 g_3 g_3)))
 (let ((?x183 (+ (* (- 1.0) gamma g_2 g_3 g_3) ?x369 (* (- 1.0) gamma g_2 g_4 g_4) (* 2.0 g_3 g_3 g_4 g_4) ?x58)))
 (let (($x123 (<= 0.0 (+ (* gamma g_2) (* (- 1.0) g_3 g_3) (* (- 1.0) g_4 g_4)))))
 (let ((?x76 (+ (* (- 1.0) gamma gamma d_1 d_1) (* (- 1.0) gamma gamma d_2 d_2) (* (- 1.0) gamma d_3 d_3 g_2) (* (- 2.0) gamma d_2 d_3 g_3))))
 (or (and $x123 (< 0.0 ?x76)) (or (and $x123 (< 0.0 ?x183)) (and (<= 0.0 ?x12) $x332)))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 d_3))
(assert
 (<= 0.0 g_4))
(assert
 (let ((?x130 (+ m (- 3.0))))
(<= 0.0 ?x130)))
(check-sat)
