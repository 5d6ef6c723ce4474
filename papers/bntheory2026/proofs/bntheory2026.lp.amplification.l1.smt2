(set-logic QF_NRA)
(declare-fun g_4 () Real)
(declare-fun gamma () Real)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun p_3 () Real)
(declare-fun q () Real)
(declare-fun p_2 () Real)
(declare-fun g_1 () Real)
(declare-fun p_1 () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x26 (* gamma gamma g_4 g_4)))
 (let ((?x25 (* gamma gamma g_3 g_3)))
 (let ((?x24 (* gamma gamma g_2 g_2)))
 (let ((?x27 (+ (* (- 1.0) gamma gamma q q p_2 p_2 g_1 g_1) (* (- 1.0) gamma gamma q q p_3 p_3 g_1 g_1) (* (- 1.0) gamma gamma q q p_2 p_2 g_3 g_3) (* (- 1.0) gamma gamma q q p_3 p_3 g_3 g_3) (* (- 1.0) gamma gamma q q p_2 p_2 g_4 g_4) (* (- 1.0) gamma gamma q q p_3 p_3 g_4 g_4) (* (- 2.0) gamma gamma q p_2 g_2 g_2) (* (- 2.0) gamma gamma q p_3 g_2 g_3) ?x24 ?x25 ?x26)))
 (< 0.0 ?x27))))))
(assert
 (= 0.0 (+ (* p_1 p_1) (* p_2 p_2) (* p_3 p_3) (- 1.0))))
(assert
 (let ((?x37 (* m m)))
 (<= 0.0 (+ (* (- 1.0) m m p_1 p_1) ?x37 (* (- 4.0) m) 4.0))))
(assert
 (< 0.0 p_2))
(assert
 (<= 0.0 (+ (* m p_2 p_2) (- 2.0))))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (< 0.0 m))
(assert
 (< 0.0 q))
(assert
 (<= 0.0 p_3))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
(reset)
(set-logic QF_NRA)
(declare-fun p_3 () Real)
(declare-fun q () Real)
(declare-fun p_2 () Real)
(declare-fun p_1 () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x13 (+ (* (- 1.0) q q p_2 p_2) (* (- 1.0) q q p_3 p_3) 1.0)))
 (< 0.0 ?x13)))
(assert
 (= 0.0 (+ (* p_1 p_1) (* p_2 p_2) (* p_3 p_3) (- 1.0))))
(assert
 (let ((?x23 (* m m)))
 (<= 0.0 (+ (* (- 1.0) m m p_1 p_1) ?x23 (* (- 4.0) m) 4.0))))
(assert
 (< 0.0 p_2))
(assert
 (<= 0.0 (+ (* m p_2 p_2) (- 2.0))))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (< 0.0 m))
(assert
 (< 0.0 q))
(assert
 (<= 0.0 p_3))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
