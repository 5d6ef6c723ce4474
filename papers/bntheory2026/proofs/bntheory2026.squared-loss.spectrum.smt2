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
 (let ((?x25 (+ (* (- 1.0) g_1 d_1) (* (- 1.0) g_2 d_2) (* (- 1.0) g_3 d_3))))
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2)) (= 0.0 ?x25))))
(assert
 (let (($x95 (< 0.0 (+ (* (- 1.0) gamma gamma d_1) (* gamma g_2 d_1)))))
 (let (($x419 (< 0.0 (+ (* gamma gamma d_1) (* (- 1.0) gamma g_2 d_1)))))
 (let ((?x101 (+ (* (- 1.0) gamma gamma d_2) (* gamma g_2 d_2) (* (- 1.0) gamma g_3 d_3))))
 (let ((?x22 (* gamma gamma d_2)))
 (let (($x142 (< 0.0 (+ ?x22 (* (- 1.0) gamma g_2 d_2) (* gamma g_3 d_3)))))
 (let (($x145 (or (< 0.0 (* gamma g_3 d_2)) (< 0.0 (* (- 1.0) gamma g_3 d_2)))))
 (or false false false (or $x145 (or $x142 (< 0.0 ?x101)) (or $x419 $x95))))))))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (let ((?x141 (+ m (- 3.0))))
(<= 0.0 ?x141)))
(check-sat)
