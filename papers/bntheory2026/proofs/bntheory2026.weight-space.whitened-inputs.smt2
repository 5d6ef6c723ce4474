(set-logic QF_NRA)
(declare-fun g_3 () Real)
(declare-fun k_3 () Real)
(declare-fun g_2 () Real)
(declare-fun k_2 () Real)
(declare-fun g_1 () Real)
(declare-fun k_1 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (let ((?x23 (* k_3 g_3)))
 (let ((?x21 (* k_2 g_2)))
 (let ((?x20 (* k_1 g_1)))
 (let ((?x24 (+ (* (- 1.0) k_1 k_1) (* (- 1.0) k_2 k_2) (* (- 1.0) k_3 k_3) ?x20 ?x21 ?x23)))
 (and (= 0.0 (* (- 1.0) k_1)) (= 0.0 (+ (* (- 1.0) k_2) g_2)) (= 0.0 ?x24)))))))
(assert
 (let ((?x31 (+ (* (- 2.0) gamma gamma k_2 g_2) (* gamma gamma g_2 g_2))))
 (< 0.0 ?x31)))
(assert
 (<= 0.0 k_3))
(assert
 (<= 0.0 (+ m (- 2.0))))
(check-sat)
