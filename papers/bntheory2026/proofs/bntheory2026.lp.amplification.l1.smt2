(set-logic QF_NRA)
(declare-fun p_3 () Real)
(declare-fun q () Real)
(declare-fun p_2 () Real)
(declare-fun g_4 () Real)
(declare-fun gamma () Real)
(declare-fun g_3 () Real)
(declare-fun g_2 () Real)
(declare-fun g_1 () Real)
(declare-fun p_1 () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x32 (+ (* (- 1.0) q q p_2 p_2) (* (- 1.0) q q p_3 p_3) 1.0)))
 (let ((?x26 (* gamma gamma g_4 g_4)))
 (let ((?x25 (* gamma gamma g_3 g_3)))
 (let ((?x24 (* gamma gamma g_2 g_2)))
 (let ((?x23 (* (- 2.0) gamma gamma q p_3 g_2 g_3)))
 (let ((?x22 (* (- 2.0) gamma gamma q p_2 g_2 g_2)))
 (let ((?x27 (+ (* (- 1.0) gamma gamma q q p_2 p_2 g_1 g_1) (* (- 1.0) gamma gamma q q p_3 p_3 g_1 g_1) (* (- 1.0) gamma gamma q q p_2 p_2 g_3 g_3) (* (- 1.0) gamma gamma q q p_3 p_3 g_3 g_3) (* (- 1.0) gamma gamma q q p_2 p_2 g_4 g_4) (* (- 1.0) gamma gamma q q p_3 p_3 g_4 g_4) ?x22 ?x23 ?x24 ?x25 ?x26)))
 (or (< 0.0 ?x27) (< 0.0 ?x32))))))))))
(assert
 true)
(assert
 true)
(assert
 (let ((?x26 (* gamma gamma g_4 g_4)))
 (let ((?x25 (* gamma gamma g_3 g_3)))
 (let ((?x24 (* gamma gamma g_2 g_2)))
 (let ((?x23 (* (- 2.0) gamma gamma q p_3 g_2 g_3)))
 (let ((?x22 (* (- 2.0) gamma gamma q p_2 g_2 g_2)))
 (let ((?x36 (* gamma gamma q q p_3 p_3 g_2 g_2)))
 (let ((?x35 (* gamma gamma q q p_2 p_2 g_2 g_2)))
 (<= 0.0 (+ ?x35 ?x36 ?x22 ?x23 ?x24 ?x25 ?x26))))))))))
(assert
 true)
(assert
 true)
(assert
 true)
(assert
 (let ((?x51 (* gamma gamma p_3 p_3 g_4 g_4)))
 (let ((?x50 (* gamma gamma p_2 p_2 g_4 g_4)))
 (let ((?x48 (* gamma gamma p_2 p_2 g_3 g_3)))
 (let ((?x46 (* (- 2.0) gamma gamma p_2 p_3 g_2 g_3)))
 (let ((?x45 (* gamma gamma p_3 p_3 g_2 g_2)))
 (let ((?x52 (+ (* gamma gamma q q p_1 p_1 p_2 p_2 g_2 g_2) (* gamma gamma q q p_1 p_1 p_3 p_3 g_2 g_2) (* (- 2.0) gamma gamma q p_1 p_1 p_2 g_2 g_2) (* (- 2.0) gamma gamma q p_1 p_1 p_3 g_2 g_3) (* gamma gamma p_1 p_1 g_2 g_2) ?x45 ?x46 (* gamma gamma p_1 p_1 g_3 g_3) ?x48 (* gamma gamma p_1 p_1 g_4 g_4) ?x50 ?x51)))
 (<= 0.0 ?x52))))))))
(assert
 (let ((?x65 (* p_3 p_3 g_4 g_4)))
 (let ((?x64 (* p_2 p_2 g_4 g_4)))
 (let ((?x62 (* p_2 p_2 g_3 g_3)))
 (let ((?x60 (* (- 2.0) p_2 p_3 g_2 g_3)))
 (let ((?x58 (* p_3 p_3 g_2 g_2)))
 (let ((?x55 (* p_3 p_3 g_1 g_1)))
 (let ((?x54 (* p_2 p_2 g_1 g_1)))
 (let ((?x66 (+ ?x54 ?x55 (* (- 2.0) p_1 p_2 g_1 g_2) (* p_1 p_1 g_2 g_2) ?x58 (* (- 2.0) p_1 p_3 g_1 g_3) ?x60 (* p_1 p_1 g_3 g_3) ?x62 (* p_1 p_1 g_4 g_4) ?x64 ?x65)))
 (<= 0.0 ?x66))))))))))
(assert
 true)
(assert
 (let ((?x26 (* gamma gamma g_4 g_4)))
 (let ((?x25 (* gamma gamma g_3 g_3)))
 (let ((?x23 (* (- 2.0) gamma gamma q p_3 g_2 g_3)))
 (let ((?x36 (* gamma gamma q q p_3 p_3 g_2 g_2)))
 (<= 0.0 (+ ?x36 ?x23 ?x25 ?x26)))))))
(assert
 true)
(assert
 (let ((?x51 (* gamma gamma p_3 p_3 g_4 g_4)))
 (let ((?x50 (* gamma gamma p_2 p_2 g_4 g_4)))
 (let ((?x48 (* gamma gamma p_2 p_2 g_3 g_3)))
 (let ((?x46 (* (- 2.0) gamma gamma p_2 p_3 g_2 g_3)))
 (let ((?x45 (* gamma gamma p_3 p_3 g_2 g_2)))
 (<= 0.0 (+ ?x45 ?x46 ?x48 ?x50 ?x51))))))))
(assert
 (let ((?x65 (* p_3 p_3 g_4 g_4)))
 (let ((?x64 (* p_2 p_2 g_4 g_4)))
 (let ((?x62 (* p_2 p_2 g_3 g_3)))
 (let ((?x60 (* (- 2.0) p_2 p_3 g_2 g_3)))
 (let ((?x58 (* p_3 p_3 g_2 g_2)))
 (let ((?x55 (* p_3 p_3 g_1 g_1)))
 (let ((?x54 (* p_2 p_2 g_1 g_1)))
 (<= 0.0 (+ ?x54 ?x55 ?x58 ?x60 ?x62 ?x64 ?x65))))))))))
(assert
 (let ((?x85 (* gamma gamma g_1 g_1 g_4 g_4)))
 (let ((?x84 (* gamma gamma g_1 g_1 g_3 g_3)))
 (let ((?x83 (* gamma gamma g_1 g_1 g_2 g_2)))
 (let ((?x77 (* (- 2.0) gamma gamma q q p_2 p_3 g_2 g_2 g_2 g_3)))
 (let ((?x76 (* gamma gamma q q p_3 p_3 g_2 g_2 g_2 g_2)))
 (let ((?x74 (* gamma gamma q q p_2 p_2 g_1 g_1 g_2 g_2)))
 (let ((?x86 (+ ?x74 (* gamma gamma q q p_3 p_3 g_1 g_1 g_2 g_2) ?x76 ?x77 (* gamma gamma q q p_2 p_2 g_2 g_2 g_3 g_3) (* gamma gamma q q p_2 p_2 g_2 g_2 g_4 g_4) (* gamma gamma q q p_3 p_3 g_2 g_2 g_4 g_4) (* (- 2.0) gamma gamma q p_2 g_1 g_1 g_2 g_2) (* (- 2.0) gamma gamma q p_3 g_1 g_1 g_2 g_3) ?x83 ?x84 ?x85)))
 (<= 0.0 ?x86)))))))))
(assert
 (= 0.0 (+ (* p_1 p_1) (* p_2 p_2) (* p_3 p_3) (- 1.0))))
(assert
 (let ((?x95 (* m m)))
 (<= 0.0 (+ (* (- 1.0) m m p_1 p_1) ?x95 (* (- 4.0) m) 4.0))))
(assert
 (< 0.0 p_2))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (< 0.0 m))
(assert
 (< 0.0 q))
(assert
 (<= 0.0 p_3))
(assert
 (<= 0.0 g_4))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
