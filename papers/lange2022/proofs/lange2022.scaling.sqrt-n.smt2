(set-logic QF_NRA)
(declare-fun q2 () Real)
(declare-fun high () Real)
(declare-fun w_3 () Real)
(declare-fun m () Real)
(declare-fun w_2 () Real)
(declare-fun w_1 () Real)
(declare-fun image_w () Real)
(declare-fun low () Real)
(declare-fun image_u () Real)
(declare-fun u_1 () Real)
(declare-fun u_2 () Real)
(assert
 (let ((?x28 (+ (* (- 1.0) m w_1 w_1) (* (- 1.0) m w_2 w_2) (* (- 1.0) m w_3 w_3) (* high q2))))
 (and (<= 0.0 (+ (* m m u_1 u_1) (* (- 1.0) image_u))) (<= 0.0 (+ (* (- 1.0) low q2) image_w)) (<= 0.0 ?x28))))
(assert
 (let ((?x37 (+ (* (- 1.0) m u_1 u_1 high image_w) (* (- 1.0) m u_2 u_2 high image_w) (* w_1 w_1 low image_u) (* w_2 w_2 low image_u) (* w_3 w_3 low image_u))))
 (< 0.0 ?x37)))
(assert
 (< 0.0 m))
(assert
 (<= 0.0 u_2))
(assert
 (<= 0.0 w_3))
(assert
 (< 0.0 low))
(assert
 (< 0.0 high))
(assert
 (<= 0.0 image_u))
(assert
 (<= 0.0 image_w))
(assert
 (< 0.0 q2))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
