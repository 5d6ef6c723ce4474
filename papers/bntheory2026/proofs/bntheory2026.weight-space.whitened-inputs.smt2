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
 (let ((?x89 (* k_3 g_3)))
 (let ((?x183 (* k_2 g_2)))
 (let ((?x364 (+ (* (- 1.0) k_1 k_1) (* (- 1.0) k_2 k_2) (* (- 1.0) k_3 k_3) (* k_1 g_1) ?x183 ?x89)))
 (and (= 0.0 (* (- 1.0) k_1)) (= 0.0 (+ (* (- 1.0) k_2) g_2)) (= 0.0 ?x364))))))
(assert
 (let ((?x17 (* gamma gamma g_2 g_2)))
 (< 0.0 (+ (* (- 2.0) gamma gamma k_2 g_2) ?x17))))
(assert
 (<= 0.0 k_3))
(assert
 (let ((?x149 (+ m (- 2.0))))
(<= 0.0 ?x149)))
(check-sat)
