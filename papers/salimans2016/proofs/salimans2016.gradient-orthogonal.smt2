(set-logic QF_NRA)
(declare-fun g_2 () Real)
(declare-fun q () Real)
(declare-fun gamma () Real)
(declare-fun g_1 () Real)
(declare-fun p () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x223 (* gamma q g_2)))
 (let ((?x139 (+ (* (- 1.0) gamma p p p g_1) (* (- 1.0) gamma p q q g_1) (* (- 1.0) gamma p p q g_2) (* (- 1.0) gamma q q q g_2) (* gamma p g_1) ?x223)))
 (let ((?x383 (* gamma q q q g_2)))
 (let ((?x238 (+ (* gamma p p p g_1) (* gamma p q q g_1) (* gamma p p q g_2) ?x383 (* (- 1.0) gamma p g_1) (* (- 1.0) gamma q g_2))))
 (or (< 0.0 ?x238) (< 0.0 ?x139)))))))
(assert
 (= 0.0 (+ (* (- 1.0) p p) (* (- 1.0) q q) 1.0)))
(assert
 (<= 0.0 q))
(assert
 (let ((?x212 (+ m (- 2.0))))
(<= 0.0 ?x212)))
(check-sat)
