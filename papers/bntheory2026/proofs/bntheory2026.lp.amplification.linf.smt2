(set-logic QF_NRA)
(declare-fun p_3 () Real)
(declare-fun q () Real)
(declare-fun p_2 () Real)
(declare-fun g_4 () Real)
(declare-fun gamma () Real)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(declare-fun p_1 () Real)
(assert
 true)
(assert
 (let ((?x190 (+ (* (- 1.0) q q p_2 p_2) (* (- 1.0) q q p_3 p_3) 1.0)))
 (let ((?x336 (* gamma gamma g_4 g_4)))
 (let ((?x47 (* gamma gamma g_3 g_3)))
 (let ((?x108 (* gamma gamma g_2 g_2)))
 (let ((?x92 (+ (* (- 1.0) gamma gamma q q p_2 p_2 g_1 g_1) (* (- 1.0) gamma gamma q q p_3 p_3 g_1 g_1) (* (- 1.0) gamma gamma q q p_2 p_2 g_3 g_3) (* (- 1.0) gamma gamma q q p_3 p_3 g_3 g_3) (* (- 1.0) gamma gamma q q p_2 p_2 g_4 g_4) (* (- 1.0) gamma gamma q q p_3 p_3 g_4 g_4) (* (- 2.0) gamma gamma q p_2 g_2 g_2) (* (- 2.0) gamma gamma q p_3 g_2 g_3) ?x108 ?x47 ?x336)))
 (or (< 0.0 ?x92) (< 0.0 ?x190))))))))
(assert
 (= 0.0 (+ (* p_1 p_1) (* p_2 p_2) (* p_3 p_3) (* (- 1.0) m))))
(assert
 (= 0.0 (+ (* p_1 p_1) (- 1.0))))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (< 0.0 m))
(assert
 (< 0.0 q))
(assert
 (<= 0.0 p_3))
(assert
 (<= 0.0 g_4))
(assert
 (let ((?x85 (+ m (- 3.0))))
(<= 0.0 ?x85)))
(check-sat)
