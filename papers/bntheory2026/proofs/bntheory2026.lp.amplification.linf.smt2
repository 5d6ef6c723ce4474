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
 (let ((?x23 (* (- 2.0) gamma gamma q p_3 g_2 g_3)))
 (let ((?x22 (* (- 2.0) gamma gamma q p_2 g_2 g_2)))
 (let ((?x27 (+ (* (- 1.0) gamma gamma q q p_2 p_2 g_1 g_1) (* (- 1.0) gamma gamma q q p_3 p_3 g_1 g_1) (* (- 1.0) gamma gamma q q p_2 p_2 g_3 g_3) (* (- 1.0) gamma gamma q q p_3 p_3 g_3 g_3) (* (- 1.0) gamma gamma q q p_2 p_2 g_4 g_4) (* (- 1.0) gamma gamma q q p_3 p_3 g_4 g_4) ?x22 ?x23 ?x24 ?x25 ?x26)))
 (< 0.0 ?x27))))))))
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
 (let ((?x30 (* gamma gamma q q p_3 p_3 g_2 g_2)))
 (let ((?x29 (* gamma gamma q q p_2 p_2 g_2 g_2)))
 (<= 0.0 (+ ?x29 ?x30 ?x22 ?x23 ?x24 ?x25 ?x26))))))))))
(assert
 true)
(assert
 true)
(assert
 true)
(assert
 (let ((?x45 (* gamma gamma p_3 p_3 g_4 g_4)))
 (let ((?x44 (* gamma gamma p_2 p_2 g_4 g_4)))
 (let ((?x42 (* gamma gamma p_2 p_2 g_3 g_3)))
 (let ((?x40 (* (- 2.0) gamma gamma p_2 p_3 g_2 g_3)))
 (let ((?x39 (* gamma gamma p_3 p_3 g_2 g_2)))
 (let ((?x46 (+ (* gamma gamma q q p_1 p_1 p_2 p_2 g_2 g_2) (* gamma gamma q q p_1 p_1 p_3 p_3 g_2 g_2) (* (- 2.0) gamma gamma q p_1 p_1 p_2 g_2 g_2) (* (- 2.0) gamma gamma q p_1 p_1 p_3 g_2 g_3) (* gamma gamma p_1 p_1 g_2 g_2) ?x39 ?x40 (* gamma gamma p_1 p_1 g_3 g_3) ?x42 (* gamma gamma p_1 p_1 g_4 g_4) ?x44 ?x45)))
 (<= 0.0 ?x46))))))))
(assert
 (let ((?x59 (* p_3 p_3 g_4 g_4)))
 (let ((?x58 (* p_2 p_2 g_4 g_4)))
 (let ((?x56 (* p_2 p_2 g_3 g_3)))
 (let ((?x54 (* (- 2.0) p_2 p_3 g_2 g_3)))
 (let ((?x52 (* p_3 p_3 g_2 g_2)))
 (let ((?x49 (* p_3 p_3 g_1 g_1)))
 (let ((?x48 (* p_2 p_2 g_1 g_1)))
 (let ((?x60 (+ ?x48 ?x49 (* (- 2.0) p_1 p_2 g_1 g_2) (* p_1 p_1 g_2 g_2) ?x52 (* (- 2.0) p_1 p_3 g_1 g_3) ?x54 (* p_1 p_1 g_3 g_3) ?x56 (* p_1 p_1 g_4 g_4) ?x58 ?x59)))
 (<= 0.0 ?x60))))))))))
(assert
 true)
(assert
 (let ((?x26 (* gamma gamma g_4 g_4)))
 (let ((?x25 (* gamma gamma g_3 g_3)))
 (let ((?x23 (* (- 2.0) gamma gamma q p_3 g_2 g_3)))
 (let ((?x30 (* gamma gamma q q p_3 p_3 g_2 g_2)))
 (<= 0.0 (+ ?x30 ?x23 ?x25 ?x26)))))))
(assert
 true)
(assert
 (let ((?x45 (* gamma gamma p_3 p_3 g_4 g_4)))
 (let ((?x44 (* gamma gamma p_2 p_2 g_4 g_4)))
 (let ((?x42 (* gamma gamma p_2 p_2 g_3 g_3)))
 (let ((?x40 (* (- 2.0) gamma gamma p_2 p_3 g_2 g_3)))
 (let ((?x39 (* gamma gamma p_3 p_3 g_2 g_2)))
 (<= 0.0 (+ ?x39 ?x40 ?x42 ?x44 ?x45))))))))
(assert
 (let ((?x59 (* p_3 p_3 g_4 g_4)))
 (let ((?x58 (* p_2 p_2 g_4 g_4)))
 (let ((?x56 (* p_2 p_2 g_3 g_3)))
 (let ((?x54 (* (- 2.0) p_2 p_3 g_2 g_3)))
 (let ((?x52 (* p_3 p_3 g_2 g_2)))
 (let ((?x49 (* p_3 p_3 g_1 g_1)))
 (let ((?x48 (* p_2 p_2 g_1 g_1)))
 (<= 0.0 (+ ?x48 ?x49 ?x52 ?x54 ?x56 ?x58 ?x59))))))))))
(assert
 (let ((?x79 (* gamma gamma g_1 g_1 g_4 g_4)))
 (let ((?x78 (* gamma gamma g_1 g_1 g_3 g_3)))
 (let ((?x77 (* gamma gamma g_1 g_1 g_2 g_2)))
 (let ((?x71 (* (- 2.0) gamma gamma q q p_2 p_3 g_2 g_2 g_2 g_3)))
 (let ((?x70 (* gamma gamma q q p_3 p_3 g_2 g_2 g_2 g_2)))
 (let ((?x68 (* gamma gamma q q p_2 p_2 g_1 g_1 g_2 g_2)))
 (let ((?x80 (+ ?x68 (* gamma gamma q q p_3 p_3 g_1 g_1 g_2 g_2) ?x70 ?x71 (* gamma gamma q q p_2 p_2 g_2 g_2 g_3 g_3) (* gamma gamma q q p_2 p_2 g_2 g_2 g_4 g_4) (* gamma gamma q q p_3 p_3 g_2 g_2 g_4 g_4) (* (- 2.0) gamma gamma q p_2 g_1 g_1 g_2 g_2) (* (- 2.0) gamma gamma q p_3 g_1 g_1 g_2 g_3) ?x77 ?x78 ?x79)))
 (<= 0.0 ?x80)))))))))
(assert
 (let ((?x82 (* p_1 p_1)))
 (let ((?x87 (+ ?x82 (* p_2 p_2) (* p_3 p_3) (* (- 1.0) m))))
 (= 0.0 ?x87))))
(assert
 (= 0.0 (+ (* p_1 p_1) (- 1.0))))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (< 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (<= 0.0 (+ (* m q q) (* (- 1.0) q q) (- 1.0))))
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
(reset)
(set-logic QF_NRA)
(declare-fun p_3 () Real)
(declare-fun q () Real)
(declare-fun p_2 () Real)
(declare-fun m () Real)
(declare-fun p_1 () Real)
(assert
 true)
(assert
 (let ((?x13 (+ (* (- 1.0) q q p_2 p_2) (* (- 1.0) q q p_3 p_3) 1.0)))
 (< 0.0 ?x13)))
(assert
 (let ((?x16 (* p_1 p_1)))
 (let ((?x21 (+ ?x16 (* p_2 p_2) (* p_3 p_3) (* (- 1.0) m))))
 (= 0.0 ?x21))))
(assert
 (= 0.0 (+ (* p_1 p_1) (- 1.0))))
(assert
 (= 0.0 (+ (* q p_2) (- 1.0))))
(assert
 (< 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (<= 0.0 (+ (* m q q) (* (- 1.0) q q) (- 1.0))))
(assert
 (< 0.0 m))
(assert
 (< 0.0 q))
(assert
 (<= 0.0 p_3))
(assert
 (<= 0.0 (+ m (- 3.0))))
(check-sat)
