(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun d_4 () Real)
(declare-fun d_3 () Real)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun m () Real)
(assert
 (and (< 0.0 (* g_3 g_3))))
(assert
 (let ((?x41 (* (- 1.0) g_3 g_3 g_3 g_3)))
 (let ((?x45 (+ (* 2.0 gamma gamma g_3 g_3) (* (- 1.0) gamma g_2 g_3 g_3) ?x41)))
 (let (($x46 (< 0.0 (+ (* (- 2.0) gamma gamma) (* gamma g_2) (* g_3 g_3)))))
 (let (($x42 (and (< 0.0 (+ (* (- 1.0) gamma g_2) (* g_3 g_3))) (<= 0.0 (+ (* gamma g_2 g_3 g_3) ?x41)))))
 (let ((?x14 (* (- 1.0) gamma gamma d_2 d_2)))
 (let ((?x12 (* (- 1.0) gamma gamma d_1 d_1)))
 (let ((?x37 (+ ?x12 ?x14 (* 2.0 gamma g_3 d_2 d_3) (* (- 2.0) gamma gamma d_3 d_3) (* gamma g_2 d_3 d_3) (* (- 2.0) gamma gamma d_4 d_4) (* gamma g_2 d_4 d_4))))
 (let ((?x60 (* (- 1.0) g_3 g_3)))
 (let ((?x23 (* (- 1.0) gamma g_2)))
 (let (($x38 (and (<= 0.0 (+ (* 2.0 gamma gamma) ?x23 ?x60)) (< 0.0 ?x37))))
 (let ((?x22 (+ ?x12 ?x14 (* (- 2.0) gamma g_3 d_2 d_3) (* (- 1.0) gamma g_2 d_3 d_3) (* (- 1.0) gamma g_2 d_4 d_4))))
 (or (and (<= 0.0 (+ (* gamma g_2) ?x60)) (< 0.0 ?x22)) $x38 $x42 (and $x46 (<= 0.0 ?x45)))))))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 d_4))
(assert
 (let ((?x58 (+ m (- 3.0))))
(<= 0.0 ?x58)))
(check-sat)
