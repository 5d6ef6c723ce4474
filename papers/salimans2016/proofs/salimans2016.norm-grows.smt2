(set-logic QF_NRA)
(declare-fun eta () Real)
(declare-fun g_2 () Real)
(declare-fun q () Real)
(declare-fun gamma () Real)
(declare-fun g_1 () Real)
(declare-fun p () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x23 (+ (* gamma p p p g_1 eta) (* gamma p q q g_1 eta) (* gamma p p q g_2 eta) (* gamma q q q g_2 eta) (* (- 1.0) gamma p g_1 eta) (* (- 1.0) gamma q g_2 eta))))
 (and (and (distinct 0.0 (+ (* p p) (* q q))) true) (and (distinct 0.0 ?x23) true))))
(assert
 (= 0.0 (+ (* (- 1.0) p p) (* (- 1.0) q q) 1.0)))
(assert
 (<= 0.0 q))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
