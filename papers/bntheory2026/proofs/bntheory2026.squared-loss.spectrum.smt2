(set-logic QF_NRA)
(declare-fun d_3 () Real)
(declare-fun g_3 () Real)
(declare-fun d_2 () Real)
(declare-fun g_2 () Real)
(declare-fun d_1 () Real)
(declare-fun g_1 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (let ((?x99 (+ (* (- 1.0) g_1 d_1) (* (- 1.0) g_2 d_2) (* (- 1.0) g_3 d_3))))
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2)) (= 0.0 ?x99))))
(assert
 (let (($x295 (< 0.0 (+ (* (- 1.0) gamma gamma d_1) (* gamma g_2 d_1)))))
 (let (($x90 (< 0.0 (+ (* gamma gamma d_1) (* (- 1.0) gamma g_2 d_1)))))
 (let ((?x72 (* gamma g_2 d_2)))
 (let ((?x135 (+ (* (- 1.0) gamma gamma d_2) ?x72 (* (- 1.0) gamma g_3 d_3))))
 (let ((?x409 (* gamma gamma d_2)))
 (let (($x5 (< 0.0 (+ ?x409 (* (- 1.0) gamma g_2 d_2) (* gamma g_3 d_3)))))
 (let (($x253 (or (< 0.0 (* gamma g_3 d_2)) (< 0.0 (* (- 1.0) gamma g_3 d_2)))))
 (or false false false (or $x253 (or $x5 (< 0.0 ?x135)) (or $x90 $x295)))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (let ((?x55 (+ m (- 3.0))))
(<= 0.0 ?x55)))
(check-sat)
