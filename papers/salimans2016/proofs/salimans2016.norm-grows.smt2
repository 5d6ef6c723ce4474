(set-logic QF_NRA)
(declare-fun q () Real)
(declare-fun p () Real)
(declare-fun eta () Real)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun g_1 () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (and (distinct 0.0 (+ (* p p) (* q q))) true))
(assert
 (let ((?x286 (+ (* gamma p p p g_1 eta) (* gamma p q q g_1 eta) (* gamma p p q g_2 eta) (* gamma q q q g_2 eta) (* (- 1.0) gamma p g_1 eta) (* (- 1.0) gamma q g_2 eta))))
 (let ((?x296 (+ (* (- 1.0) gamma p p p g_1 eta) (* (- 1.0) gamma p q q g_1 eta) (* (- 1.0) gamma p p q g_2 eta) (* (- 1.0) gamma q q q g_2 eta) (* gamma p g_1 eta) (* gamma q g_2 eta))))
 (or (< 0.0 ?x296) (< 0.0 ?x286)))))
(assert
 (= 0.0 (+ (* (- 1.0) p p) (* (- 1.0) q q) 1.0)))
(assert
 (<= 0.0 q))
(assert
 (let ((?x469 (+ m (- 2.0))))
(<= 0.0 ?x469)))
(check-sat)
