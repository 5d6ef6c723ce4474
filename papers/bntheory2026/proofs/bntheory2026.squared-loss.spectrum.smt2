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
 (let ((?x20 (+ (* (- 1.0) g_1 d_1) (* (- 1.0) g_2 d_2) (* (- 1.0) g_3 d_3))))
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2)) (= 0.0 ?x20))))
(assert
 (let (($x34 (and (distinct 0.0 (+ (* (- 1.0) gamma gamma d_1) (* gamma g_2 d_1))) true)))
 (let ((?x29 (+ (* (- 1.0) gamma gamma d_2) (* gamma g_2 d_2) (* (- 1.0) gamma g_3 d_3))))
 (let (($x35 (or (and (distinct 0.0 (* (- 1.0) gamma g_3 d_2)) true) (and (distinct 0.0 ?x29) true) $x34)))
 (or false false false $x35)))))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 g_3))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
