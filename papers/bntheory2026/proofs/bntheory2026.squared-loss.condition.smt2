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
 (let (($x6 (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3) (* g_4 g_4)))))
 (let ((?x374 (+ (* gamma g_2 g_3 g_3) (* (- 1.0) g_3 g_3 g_3 g_3) (* gamma g_2 g_4 g_4) (* (- 2.0) g_3 g_3 g_4 g_4) (* (- 1.0) g_4 g_4 g_4 g_4))))
 (let ((?x145 (* g_4 g_4 g_4 g_4)))
 (let ((?x259 (* g_3 g_3 g_3 g_3)))
 (let ((?x278 (+ (* (- 1.0) gamma g_2 g_3 g_3) ?x259 (* (- 1.0) gamma g_2 g_4 g_4) (* 2.0 g_3 g_3 g_4 g_4) ?x145)))
 (let (($x138 (<= 0.0 (+ (* gamma g_2) (* (- 1.0) g_3 g_3) (* (- 1.0) g_4 g_4)))))
 (let ((?x156 (+ (* (- 1.0) gamma gamma d_1 d_1) (* (- 1.0) gamma gamma d_2 d_2) (* (- 1.0) gamma d_3 d_3 g_2) (* (- 2.0) gamma d_2 d_3 g_3))))
 (or (and $x138 (< 0.0 ?x156)) (or (and $x138 (< 0.0 ?x278)) (and (<= 0.0 ?x374) $x6)))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 d_3))
(assert
 (<= 0.0 g_4))
(assert
 (let ((?x44 (+ m (- 3.0))))
(<= 0.0 ?x44)))
(check-sat)
