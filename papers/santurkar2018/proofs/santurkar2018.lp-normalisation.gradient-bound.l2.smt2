(set-logic QF_NRA)
(declare-fun g_2 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 true)
(assert
 (< 0.0 (* (- 1.0) gamma gamma g_2 g_2)))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
