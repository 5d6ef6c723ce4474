(set-logic QF_NRA)
(declare-fun g_2 () Real)
(declare-fun q () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (let ((?x9 (* gamma gamma q q q q g_2 g_2)))
 (or false (< 0.0 (+ ?x9 (* (- 2.0) gamma gamma q q g_2 g_2))))))
(assert
 (<= 0.0 (+ (* (- 1.0) q) 1.0)))
(assert
 (<= 0.0 q))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
