(set-logic QF_NRA)
(declare-fun h () Real)
(declare-fun d_3 () Real)
(declare-fun d_2 () Real)
(declare-fun H_33 () Real)
(declare-fun H_23 () Real)
(declare-fun H_22 () Real)
(declare-fun gamma () Real)
(declare-fun d_1 () Real)
(declare-fun m () Real)
(assert
 (let ((?x18 (* d_3 d_3 h)))
 (let ((?x17 (* d_2 d_2 h)))
 (let ((?x19 (+ (* (- 1.0) d_2 d_2 H_22) (* (- 2.0) d_2 d_3 H_23) (* (- 1.0) d_3 d_3 H_33) ?x17 ?x18)))
 (<= 0.0 ?x19)))))
(assert
 (let ((?x30 (+ (* gamma gamma d_2 d_2 H_22) (* 2.0 gamma gamma d_2 d_3 H_23) (* gamma gamma d_3 d_3 H_33) (* (- 1.0) gamma gamma d_1 d_1 h) (* (- 1.0) gamma gamma d_2 d_2 h) (* (- 1.0) gamma gamma d_3 d_3 h))))
 (< 0.0 ?x30)))
(assert
 (and (distinct 0.0 gamma) true))
(assert
 (<= 0.0 d_3))
(assert
 (<= 0.0 h))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
