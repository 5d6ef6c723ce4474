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
 (let ((?x9 (* g_4 g_4)))
 (let ((?x7 (* g_3 g_3)))
 (let ((?x10 (+ ?x7 ?x9)))
 (< 0.0 ?x10)))))
(assert
 (let (($x49 (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3) (* g_4 g_4)))))
 (let ((?x45 (+ (* gamma g_2 g_3 g_3) (* (- 1.0) g_3 g_3 g_3 g_3) (* gamma g_2 g_4 g_4) (* (- 2.0) g_3 g_3 g_4 g_4) (* (- 1.0) g_4 g_4 g_4 g_4))))
 (let ((?x36 (* g_4 g_4 g_4 g_4)))
 (let ((?x32 (* g_3 g_3 g_3 g_3)))
 (let ((?x37 (+ (* (- 1.0) gamma g_2 g_3 g_3) ?x32 (* (- 1.0) gamma g_2 g_4 g_4) (* 2.0 g_3 g_3 g_4 g_4) ?x36)))
 (let (($x19 (<= 0.0 (+ (* gamma g_2) (* (- 1.0) g_3 g_3) (* (- 1.0) g_4 g_4)))))
 (let ((?x28 (+ (* (- 1.0) gamma gamma d_1 d_1) (* (- 1.0) gamma gamma d_2 d_2) (* (- 1.0) gamma d_3 d_3 g_2) (* (- 2.0) gamma d_2 d_3 g_3))))
 (or (and $x19 (< 0.0 ?x28)) (or (and $x19 (< 0.0 ?x37)) (and (<= 0.0 ?x45) $x49)))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 d_3))
(assert
 (<= 0.0 g_4))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
